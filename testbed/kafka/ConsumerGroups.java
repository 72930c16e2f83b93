import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/** Runs kafka-consumer-groups once for each line, its arguments parted by tabs. What it says ends with a line of one dot. */
class ConsumerGroups {
    static class Ended extends RuntimeException {}

    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((code, message) -> { throw new Ended(); });
        PrintStream out = System.out;
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null;) {
            var said = new ByteArrayOutputStream();
            var to = new PrintStream(said, true);
            System.setOut(to);
            System.setErr(to);
            try {
                ConsumerGroupCommand.main(line.split("\t"));
            } catch (Ended ended) {
                // It has said why.
            } catch (Throwable thrown) {
                thrown.printStackTrace(to);
            }
            out.print(said);
            out.println(".");
            out.flush();
        }
    }
}
