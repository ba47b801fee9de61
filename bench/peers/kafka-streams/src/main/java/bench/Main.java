package bench;

import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** {@code Main bars|map BROKERS INPUT OUTPUT APPLICATION_ID STATE_DIR at_least_once|exactly_once_v2}: runs until it is stopped. */
public final class Main {
  private static final Duration WINDOW = Duration.ofMinutes(1);
  private static final Duration GRACE = Duration.ofSeconds(2);

  public static void main(String[] args) throws InterruptedException {
    String what = args[0];
    String input = args[2];
    String output = args[3];
    Topology topology = what.equals("bars") ? bars(input, output) : map(input, output);
    KafkaStreams streams = new KafkaStreams(topology, settings(args[1], args[4], args[5], args[6]));
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      streams.close(Duration.ofSeconds(5));
      stopped.countDown();
    }));
    streams.setUncaughtExceptionHandler(error -> {
      error.printStackTrace();
      return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.start();
    stopped.await();
  }

  private static Topology bars(String input, String output) {
    Serde<String> text = Serdes.String();
    Serde<Tick> ticks = Json.serde(Tick.class);
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(input, Consumed.with(text, ticks))
        .groupByKey(Grouped.with(text, ticks))
        .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
        .aggregate(
            Bar::new,
            (symbol, tick, bar) -> bar.add(tick),
            Materialized.<String, Bar>as(Stores.inMemoryWindowStore("bars", WINDOW.multipliedBy(2), WINDOW, false))
                .withKeySerde(text).withValueSerde(Bar.stateSerde()).withCachingEnabled())
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .map((at, bar) -> KeyValue.pair(at.key(), bar.placed(at.key(), at.window().start(), at.window().end())))
        .to(output, Produced.with(text, Json.serde(Bar.class)));
    return builder.build();
  }

  private static Topology map(String input, String output) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(input, Consumed.with(Serdes.ByteArray(), Json.serde(Tick.class)))
        .mapValues(Mapped::new)
        .to(output, Produced.with(Serdes.ByteArray(), Json.serde(Mapped.class)));
    return builder.build();
  }

  @JsonPropertyOrder({"symbol", "price", "size", "value", "time"})
  public static final class Mapped {
    public final String symbol;
    public final double price;
    public final double size;
    public final double value;
    public final long time;

    Mapped(Tick tick) {
      symbol = tick.symbol;
      price = tick.price;
      size = tick.volume;
      value = tick.price * tick.volume;
      time = tick.ts;
    }
  }

  private static Properties settings(String brokers, String id, String dir, String guarantee) {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
    p.put(StreamsConfig.STATE_DIR_CONFIG, dir);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    System.getProperties().forEach((key, value) -> {
      if (key.toString().startsWith("streams.")) p.put(key.toString().substring(8), value);
    });
    return p;
  }

  private Main() {}
}
