package bench;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonPropertyOrder;
import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** A bar while it is built (the state) and as it is written out. Doubles, not exact decimals: Streams' fastest arithmetic. */
@JsonPropertyOrder({"symbol", "interval", "start", "end", "open", "high", "low", "close", "volume", "vwap", "count"})
public final class Bar {
  public String symbol = "";
  public long start;
  public long end;
  public double open;
  public double high;
  public double low;
  public double close;
  public double volume;
  public long count;
  @JsonIgnore public double notional;
  @JsonIgnore public long openTs = Long.MAX_VALUE;
  @JsonIgnore public long closeTs = Long.MIN_VALUE;

  public String getInterval() {
    return "1m";
  }

  public double getVwap() {
    return volume == 0 ? close : notional / volume;
  }

  Bar add(Tick tick) {
    double price = tick.price;
    if (count++ == 0) {
      high = price;
      low = price;
    } else {
      if (price > high) high = price;
      if (price < low) low = price;
    }
    if (tick.ts < openTs) {
      openTs = tick.ts;
      open = price;
    }
    if (tick.ts >= closeTs) {
      closeTs = tick.ts;
      close = price;
    }
    volume += tick.volume;
    notional += price * tick.volume;
    return this;
  }

  Bar placed(String key, long windowStart, long windowEnd) {
    symbol = key;
    start = windowStart;
    end = windowEnd;
    return this;
  }

  /** The state is written and read once per tick: a flat binary form costs a fraction of JSON. */
  static Serde<Bar> stateSerde() {
    Serializer<Bar> serializer = (topic, bar) -> bar == null ? null : ByteBuffer.allocate(72)
        .putDouble(bar.open).putDouble(bar.high).putDouble(bar.low).putDouble(bar.close)
        .putDouble(bar.volume).putDouble(bar.notional)
        .putLong(bar.count).putLong(bar.openTs).putLong(bar.closeTs).array();
    Deserializer<Bar> deserializer = (topic, bytes) -> {
      if (bytes == null) return null;
      ByteBuffer in = ByteBuffer.wrap(bytes);
      Bar bar = new Bar();
      bar.open = in.getDouble();
      bar.high = in.getDouble();
      bar.low = in.getDouble();
      bar.close = in.getDouble();
      bar.volume = in.getDouble();
      bar.notional = in.getDouble();
      bar.count = in.getLong();
      bar.openTs = in.getLong();
      bar.closeTs = in.getLong();
      return bar;
    };
    return Serdes.serdeFrom(serializer, deserializer);
  }
}
