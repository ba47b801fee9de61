/*
 * A Java client as second opinion: `java -cp 'lib/*' Client.java produce|consume BROKERS COUNT TOPIC:COMPRESSION...`,
 * and what only an admin client can do: `scram BROKERS 0 USER:PASSWORD`.
 */
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Client {
  public static void main(String[] a) throws Exception {
    int count = Integer.parseInt(a[2]);
    for (int i = 3; i < a.length; i++) {
      String[] topic = a[i].split(":");
      if (a[0].equals("scram")) scram(a[1], topic[0], topic[1]);
      else if (a[0].equals("produce")) produce(a[1], topic[0], topic[1], count);
      else consume(a[1], topic[0], count);
    }
  }

  static void scram(String brokers, String user, String password) throws Exception {
    Properties p = new Properties();
    p.put("bootstrap.servers", brokers);
    try (Admin admin = Admin.create(p)) {
      for (ScramMechanism m : List.of(ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)) {
        UserScramCredentialAlteration change = new UserScramCredentialUpsertion(user, new ScramCredentialInfo(m, 4096), password);
        admin.alterUserScramCredentials(List.of(change)).all().get();
      }
    }
  }

  static void produce(String brokers, String topic, String compression, int count) {
    Properties p = new Properties();
    p.put("bootstrap.servers", brokers);
    p.put("compression.type", compression);
    p.put("linger.ms", "50");
    try (KafkaProducer<String, String> producer = new KafkaProducer<>(p, new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < count; i++) {
        ProducerRecord<String, String> r = new ProducerRecord<>(topic, null, 1700000000000L + i, "key-" + i % 100, "value " + i + " größe 価格");
        r.headers().add("n", ("" + i).getBytes());
        producer.send(r);
      }
    }
  }

  static void consume(String brokers, String topic, int count) {
    Properties p = new Properties();
    p.put("bootstrap.servers", brokers);
    p.put("isolation.level", "read_committed");
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer())) {
      List<TopicPartition> all = new ArrayList<>();
      consumer.partitionsFor(topic).forEach(i -> all.add(new TopicPartition(i.topic(), i.partition())));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      StringBuilder out = new StringBuilder();
      int n = 0;
      long until = System.currentTimeMillis() + 30000;
      while (n < count && System.currentTimeMillis() < until) {
        for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(200))) {
          n++;
          out.append(r.topic()).append(' ').append(r.partition()).append(' ').append(r.timestamp()).append(' ').append(r.key()).append(' ').append(r.value()).append('\n');
        }
      }
      System.out.print(out);
    }
  }
}
