// Reads lines "class version hex", decodes each with Kafka's own generated class, encodes it again, and prints the
// lines whose bytes did not come back. Run by kafka_judge.py.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class KafkaJudge {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split(" ", -1);
            String verdict;
            try {
                verdict = judge(parts[0], Short.parseShort(parts[1]), HexFormat.of().parseHex(parts[2]));
            } catch (Exception error) {
                verdict = error.toString();
            }
            if (verdict != null) {
                System.out.println(parts[0] + " " + parts[1] + " " + verdict);
            }
        }
    }

    /** What is wrong with these bytes, or null. */
    private static String judge(String className, short version, byte[] wire) throws Exception {
        Message message = (Message) Class.forName(className).getConstructor().newInstance();
        ByteBuffer input = ByteBuffer.wrap(wire);
        message.read(new ByteBufferAccessor(input), version);
        if (input.hasRemaining()) {
            return "left " + input.remaining() + " bytes";
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(output), cache, version);
        String again = HexFormat.of().formatHex(output.array());
        return again.equals(HexFormat.of().formatHex(wire)) ? null : "wrote " + again;
    }
}
