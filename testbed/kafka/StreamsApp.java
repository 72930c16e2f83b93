import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;

/** Reads a topic as a streams group (KIP-1071) until it is killed: BOOTSTRAP APPLICATION_ID TOPIC. */
class StreamsApp {
    public static void main(String[] args) throws Exception {
        var config = new Properties();
        config.put("bootstrap.servers", args[0]);
        config.put("application.id", args[1]);
        config.put("group.protocol", "streams");
        config.put("state.dir", System.getProperty("java.io.tmpdir") + "/" + args[1]);
        config.put("default.key.serde", Serdes.ByteArray().getClass());
        config.put("default.value.serde", Serdes.ByteArray().getClass());
        var builder = new StreamsBuilder();
        builder.stream(args[2]).foreach((key, value) -> {});
        new KafkaStreams(builder.build(), config).start();
        Thread.currentThread().join();
    }
}
