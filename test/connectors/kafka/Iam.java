import java.util.*;
import javax.security.auth.callback.*;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.*;

/** A broker's side of a login with a signed URL, without a signature check: the access key in it is the user. "wrong" is rejected. */
public class Iam implements AuthenticateCallbackHandler {
  public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {}
  public void close() {}

  public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
    for (Callback callback : callbacks) {
      if (!(callback instanceof OAuthBearerValidatorCallback)) continue;
      var validator = (OAuthBearerValidatorCallback) callback;
      var url = new String(Base64.getUrlDecoder().decode(validator.tokenValue()));
      var key = url.replaceAll(".*X-Amz-Credential=([^%]*)%2F.*", "$1");
      if (!url.startsWith("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&") || key.equals("wrong"))
        validator.error("invalid_token", null, null);
      else validator.token(new OAuthBearerToken() {
        public String value() { return validator.tokenValue(); }
        public Set<String> scope() { return Set.of(); }
        public long lifetimeMs() { return System.currentTimeMillis() + 3_600_000; }
        public String principalName() { return key; }
        public Long startTimeMs() { return null; }
      });
    }
  }
}
