package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;

@JsonIgnoreProperties(ignoreUnknown = true)
public final class Tick {
  public String symbol;
  public double price;
  public double volume;
  public long ts;
}
