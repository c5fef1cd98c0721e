import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Transactions BOOTSTRAP TOPIC GROUP NAME: commits, aborts, is fenced by a successor, and commits positions. Prints
 * "fenced" when the zombie was told so, and "done" at the end. A fifth argument is a step after which it says so and
 * waits to be killed: init, begin, send, offsets or commit.
 */
public final class Transactions {
  private static String topic;
  private static String group;

  public static void main(String[] arguments) throws Exception {
    topic = arguments[1];
    group = arguments[2];
    KafkaProducer<String, String> producer = open(arguments[0], arguments[3]);
    if (arguments.length > 4) {
      oneTransaction(producer, arguments[4]);
      return;
    }
    for (int number = 0; number < 4; number++) {
      producer.beginTransaction();
      send(producer, number + " a");
      send(producer, number + " b");
      if (number % 2 == 0) {
        commitPosition(producer, number + 1);
        producer.commitTransaction();
      } else {
        commitPosition(producer, 100 + number);
        producer.abortTransaction();
      }
    }
    producer.beginTransaction();
    send(producer, "of the zombie");
    KafkaProducer<String, String> successor = open(arguments[0], arguments[3]);
    successor.beginTransaction();
    send(successor, "of the successor");
    try {
      producer.commitTransaction();
    } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
      System.out.println("fenced");
    }
    successor.commitTransaction();
    successor.close();
    System.out.println("done");
    System.exit(0);
  }

  private static void oneTransaction(KafkaProducer<String, String> producer, String last)
      throws Exception {
    for (String step : List.of("init", "begin", "send", "offsets", "commit")) {
      switch (step) {
        case "begin" -> producer.beginTransaction();
        case "send" -> send(producer, "crashed");
        case "offsets" -> commitPosition(producer, 99);
        case "commit" -> producer.commitTransaction();
        default -> { }
      }
      if (step.equals(last)) {
        System.out.println(step);
        Thread.sleep(600_000);
      }
    }
  }

  private static KafkaProducer<String, String> open(String bootstrap, String name) {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("transactional.id", name);
    settings.put("transaction.timeout.ms", "60000");
    KafkaProducer<String, String> producer =
        new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    producer.initTransactions();
    return producer;
  }

  private static void send(KafkaProducer<String, String> producer, String value) throws Exception {
    producer.send(new ProducerRecord<>(topic, 0, null, value)).get();
  }

  private static void commitPosition(KafkaProducer<String, String> producer, long offset) {
    producer.sendOffsetsToTransaction(
        Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(offset)),
        new ConsumerGroupMetadata(group));
  }
}
