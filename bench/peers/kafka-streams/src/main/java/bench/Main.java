package bench;

import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
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
import org.apache.kafka.streams.state.WindowStore;

/**
 * {@code Main bars|map BROKERS INPUT OUTPUT APPLICATION_ID STATE_DIR at_least_once|exactly_once_v2 default|tuned}: runs until
 * it is stopped. {@code default} differs from the library's defaults in the commit interval alone.
 */
public final class Main {
  private static final Duration WINDOW = Duration.ofMinutes(1);
  private static final Duration GRACE = Duration.ofSeconds(2);

  public static void main(String[] args) throws InterruptedException {
    String input = args[2];
    String output = args[3];
    boolean tuned = args[7].equals("tuned");
    Topology topology = args[0].equals("bars") ? bars(input, output, tuned) : map(input, output);
    KafkaStreams streams = new KafkaStreams(topology, settings(args[1], args[4], args[5], args[6], tuned));
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

  private static Topology bars(String input, String output, boolean inMemory) {
    Serde<String> text = Serdes.String();
    Serde<Tick> ticks = Json.serde(Tick.class);
    Materialized<String, Bar, WindowStore<Bytes, byte[]>> store = inMemory
        ? Materialized.as(Stores.inMemoryWindowStore("bars", WINDOW.plus(GRACE), WINDOW, false))
        : Materialized.as("bars");
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(input, Consumed.with(text, ticks))
        .groupByKey(Grouped.with(text, ticks))
        .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
        .aggregate(Bar::new, (symbol, tick, bar) -> bar.add(tick), store.withKeySerde(text).withValueSerde(Bar.stateSerde()).withCachingEnabled())
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

  private static Properties settings(String brokers, String id, String dir, String guarantee, boolean tuned) {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
    p.put(StreamsConfig.STATE_DIR_CONFIG, dir);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    if (tuned) {
      p.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
      p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
      p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 131_072);
    }
    return p;
  }

  private Main() {}
}
