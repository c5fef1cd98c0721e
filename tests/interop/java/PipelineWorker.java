import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The worker of tests/support/pipeline_worker.py with the Java client: PipelineWorker BOOTSTRAP GROUP_PROTOCOL WORKER
 * SOURCE TARGETS, with PIPELINE_BATCH and PIPELINE_TALLY in the environment. What fails is left to the next producer
 * with this transactional id, as after a crash.
 */
public final class PipelineWorker {
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final double ABORTED_SHARE = 0.1;

  private final Path tally = Path.of(System.getenv("PIPELINE_TALLY"));
  private final String[] targets;
  private final Random chance;
  private final KafkaConsumer<byte[], byte[]> consumer;
  private final KafkaProducer<byte[], byte[]> producer;

  public static void main(String[] arguments) throws Exception {
    Random chance = new Random(arguments[2].hashCode());
    while (true) {
      PipelineWorker worker = new PipelineWorker(arguments, chance);
      try {
        worker.run(arguments[3]);
      } catch (KafkaException failure) {
        System.out.println("begins anew: " + failure);
      } finally {
        worker.producer.close(Duration.ZERO);
        worker.consumer.close();
      }
    }
  }

  private PipelineWorker(String[] arguments, Random chance) {
    this.targets = arguments[4].split(",");
    this.chance = chance;
    Properties reading = new Properties();
    reading.put("bootstrap.servers", arguments[0]);
    reading.put("group.id", "pipeline");
    reading.put("group.protocol", arguments[1]);
    reading.put("auto.offset.reset", "earliest");
    reading.put("enable.auto.commit", "false");
    reading.put("isolation.level", "read_committed");
    reading.put("max.poll.records", System.getenv("PIPELINE_BATCH"));
    reading.put("request.timeout.ms", "10000");
    consumer = new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    Properties writing = new Properties();
    writing.put("bootstrap.servers", arguments[0]);
    writing.put("transactional.id", arguments[2]);
    writing.put("transaction.timeout.ms", "60000");
    writing.put("request.timeout.ms", "10000");
    producer = new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /** Until it must be made anew: throws KafkaException. */
  private void run(String source) throws Exception {
    producer.initTransactions();
    consumer.subscribe(List.of(source));
    while (true) {
      ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
      if (!records.isEmpty()) {
        handle(records);
      }
    }
  }

  private void handle(ConsumerRecords<byte[], byte[]> records) throws Exception {
    producer.beginTransaction();
    Map<TopicPartition, OffsetAndMetadata> following = new HashMap<>();
    for (ConsumerRecord<byte[], byte[]> record : records) {
      for (String target : targets) {
        producer.send(new ProducerRecord<>(target, record.partition(), record.key(), record.value()));
      }
      TopicPartition where = new TopicPartition(record.topic(), record.partition());
      following.put(where, new OffsetAndMetadata(record.offset() + 1));
    }
    producer.sendOffsetsToTransaction(following, consumer.groupMetadata());
    if (chance.nextDouble() < ABORTED_SHARE) {
      producer.flush();
      producer.abortTransaction();
      backToWhatIsCommitted();
    } else {
      commit();
    }
  }

  private void commit() throws Exception {
    while (true) {
      try {
        producer.commitTransaction();
        Files.write(tally, new byte[] {'.'}, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return;
      } catch (TimeoutException undecided) {
        System.out.println("asks again: " + undecided);
      }
    }
  }

  private void backToWhatIsCommitted() {
    Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment(), PATIENCE);
    for (TopicPartition where : consumer.assignment()) {
      OffsetAndMetadata position = committed.get(where);
      consumer.seek(where, position == null ? 0 : position.offset());
    }
  }
}
