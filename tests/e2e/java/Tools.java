import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.Exit;

/**
 * The commands that come with Kafka (kafka-topics.sh and its kin) against a server: Tools.java HOST:PORT.
 *
 * <p>They run in this process one after another, each as its script would start it; what it prints and the code it
 * would exit with are held against what an administrator expects.
 */
public class Tools {
    private static final String TOOLS = "org.apache.kafka.tools.";
    private static final PrintStream OUT = System.out;

    private final String server;
    private int failed;

    private Tools(String server) {
        this.server = server;
    }

    /** Thrown where a tool would end the process. */
    private static final class Exited extends RuntimeException {
        Exited() {
            super(null, null, false, false);
        }
    }

    public static void main(String[] args) throws Exception {
        Tools tools = new Tools(args[0]);
        tools.topics();
        tools.records();
        tools.groups();
        tools.configs();
        tools.transactions();
        tools.cluster();
        tools.refusals();
        OUT.println(tools.failed == 0 ? "VERDICT PASS" : "VERDICT FAIL: " + tools.failed);
        // Producers of theirs may have threads left.
        Runtime.getRuntime().halt(tools.failed == 0 ? 0 : 1);
    }

    private void topics() throws Exception {
        passes("TopicCommand --create --topic tools --partitions 3 --config retention.ms=100000000", "Created topic tools");
        passes("TopicCommand --describe --topic tools", "PartitionCount: 3\\s+ReplicationFactor: 1\\s+Configs: retention.ms=100000000",
            "Partition: 2\\s+Leader: 0\\s+Replicas: 0\\s+Isr: 0");
        passes("TopicCommand --describe --topic tools --partition-size-limit-per-response 1", "Partition: 0", "Partition: 1", "Partition: 2");
        passes("TopicCommand --describe --topics-with-overrides", "Topic: tools");
        prints("", "TopicCommand --describe --unavailable-partitions");
        passes("TopicCommand --alter --topic tools --partitions 4");
        passes("TopicCommand --list", "(?m)^tools$");
        passes("LogDirsCommand --describe --topic-list tools", "\"partition\":\"tools-3\"", "\"error\":null");
    }

    private void records() throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 400; i += 1) lines.append("k").append(i).append(":v").append(i).append('\n');
        InputStream stdin = System.in;
        System.setIn(new ByteArrayInputStream(lines.toString().getBytes(StandardCharsets.UTF_8)));
        passes("ConsoleProducer --topic tools --property parse.key=true --property key.separator=:");
        System.setIn(stdin);
        for (String protocol : List.of("classic", "consumer")) {
            passes("consumer.ConsoleConsumer --topic tools --from-beginning --max-messages 400 --group " + protocol
                + " --consumer-property group.protocol=" + protocol + " --property print.key=true --property print.timestamp=true",
                "CreateTime:\\d+\\s+k399\\s+v399", "Processed a total of 400 messages");
        }
        String[] ends = passes("GetOffsetShell --topic tools").trim().split("\n");
        long total = 0;
        for (String end : ends) total += Long.parseLong(end.substring(end.lastIndexOf(':') + 1).trim());
        check("the ends of all partitions are 400 records", ends.length == 4 && total == 400);
        passes("GetOffsetShell --topic tools --time max-timestamp", "tools:0:\\d+");
        passes("GetOffsetShell --topic tools --time earliest", "tools:3:0");
        Path wanted = Files.createTempFile("records", ".json");
        Files.writeString(wanted, "{\"partitions\":[{\"topic\":\"tools\",\"partition\":0,\"offset\":5}],\"version\":1}");
        passes("DeleteRecordsCommand --offset-json-file " + wanted, "partition: tools-0\\s+low_watermark: 5");
        passes("GetOffsetShell --topic tools --time earliest", "tools:0:5");
        Files.delete(wanted);
        String servers = " --producer-props bootstrap.servers=" + server;
        own("ProducerPerformance --topic perf --num-records 50000 --record-size 100 --throughput -1" + servers, "50000 records sent");
        own("ProducerPerformance --topic perf --num-records 10000 --record-size 100 --throughput -1 --transaction-duration-ms 100" + servers, "10000 records sent");
        passes("ConsumerPerformance --topic perf --messages 60000", ", 60\\d\\d\\d, ");
        own("EndToEndLatency " + server + " latency 200 all 100", "Percentiles: 50th = \\d");
    }

    private void groups() throws Exception {
        String command = "consumer.group.ConsumerGroupCommand ";
        passes(command + "--list --state", "classic\\s+Empty", "consumer\\s+Empty");
        for (String group : List.of("classic", "consumer")) {
            passes(command + "--describe --group " + group, "tools\\s+1\\s+(\\d+)\\s+\\1\\s+0\\s");
        }
        passes(command + "--describe --all-groups --state", "Empty\\s+0");
        passes(command + "--describe --all-groups --members --verbose");
        passes(command + "--group classic --topic tools --reset-offsets --to-earliest --execute", "tools\\s+0\\s+5\\s", "tools\\s+1\\s+0\\s");
        passes(command + "--group classic --topic tools:1 --reset-offsets --shift-by 2 --execute", "tools\\s+1\\s+2\\s");
        passes(command + "--group classic --all-topics --reset-offsets --to-datetime 2020-01-01T00:00:00.000 --dry-run", "tools\\s+1\\s+0\\s");
        passes(command + "--group classic --topic tools --delete-offsets", "tools\\s+3\\s+Successful");
        passes(command + "--delete --group consumer", "successful");
        passes("GroupsCommand --list", "classic\\s+Classic\\s+consumer");
        passes("StreamsResetter --application-id nobody --input-topics tools", "Topic: tools Partition: 1 Offset: 0");
    }

    private void configs() throws Exception {
        String command = "kafka.admin.ConfigCommand ";
        passes(command + "--alter --topic tools --add-config retention.ms=5000000,cleanup.policy=[compact,delete]", "Completed updating");
        passes(command + "--describe --topic tools", "retention.ms=5000000", "cleanup.policy=compact,delete");
        passes(command + "--alter --topic tools --delete-config retention.ms,cleanup.policy", "Completed updating");
        prints("Dynamic configs for topic tools are:\n", command + "--describe --topic tools");
        passes(command + "--describe --topic tools --all", "segment.bytes=\\d+", "min.insync.replicas=1");
        passes(command + "--describe --broker 0 --all", "num.partitions=4", "advertised.listeners=PLAINTEXT://" + server);
    }

    private void transactions() throws Exception {
        passes("TransactionsCommand list", "performance-producer\\S+\\s+0\\s+\\d+\\s+CompleteCommit");
        passes("TransactionsCommand find-hanging --broker-id 0", "TransactionalId|Topic\\s+Partition");
        passes("TransactionsCommand describe-producers --topic tools --partition 1", "ProducerId\\s+ProducerEpoch");
    }

    private void cluster() throws Exception {
        passes("BrokerApiVersionsCommand", "Produce\\(0\\): \\d+ to \\d+", "ConsumerGroupHeartbeat\\(68\\): ");
        passes("ClusterTool cluster-id", "Cluster ID: \\S+");
        passes("ClusterTool list-endpoints", "0\\s+127.0.0.1\\s+\\d+");
        passes("reassign.ReassignPartitionsCommand --list", "No partition reassignments found");
    }

    /** What is not served is refused by name, and nothing hangs. */
    private void refusals() throws Exception {
        refused("TopicCommand --create --topic three --replication-factor 3", "one replica");
        refused("TopicCommand --create --topic odd --config nonsense=1", "Unknown topic config name: nonsense");
        refused("TopicCommand --create --topic tools", "already exists");
        refused("LeaderElectionCommand --election-type PREFERRED --all-topic-partitions", "does not support ELECT_LEADERS");
        refused("MetadataQuorumCommand describe --status", "does not support DESCRIBE_QUORUM");
        passes("TopicCommand --delete --topic tools");
        refused("TopicCommand --describe --topic tools", "does not exist");
    }

    /** Runs a tool that is told the server in the usual way; it must succeed and print each of these. */
    private String passes(String command, String... patterns) throws Exception {
        return judge(told(command), 0, patterns);
    }

    private void refused(String command, String pattern) throws Exception {
        judge(told(command), 1, pattern);
    }

    /** Runs a tool that is told the server in its own way. */
    private void own(String command, String... patterns) throws Exception {
        judge(List.of(command.split(" ")), 0, patterns);
    }

    /** Most take the server anywhere, some only before their verb and one only behind it. */
    private List<String> told(String command) {
        List<String> words = new ArrayList<>(List.of(command.split(" ")));
        words.addAll(command.startsWith("ClusterTool") ? 2 : 1, List.of("--bootstrap-server", server));
        return words;
    }

    private void prints(String text, String command) throws Exception {
        String printed = passes(command);
        check(command + " prints just that", printed.equals(text));
    }

    private String judge(List<String> words, int code, String... patterns) throws Exception {
        StringBuilder all = new StringBuilder();
        int exited = run(words, all);
        // Where a tool's last words are the ones of an exit that it caught.
        String printed = all.toString().replace("null\nTools$Exited\n\n", "");
        String missing = "";
        for (String pattern : patterns) {
            if (!Pattern.compile(pattern).matcher(printed).find()) missing += "\n  lacks " + pattern;
        }
        boolean held = exited == code && missing.isEmpty();
        check(String.join(" ", words), held);
        if (!held) OUT.println("  exit code " + exited + missing + "\n" + printed);
        return printed;
    }

    private int run(List<String> words, StringBuilder printed) throws Exception {
        // Some catch what is thrown here and exit again: the first code is the one.
        int[] first = {-1};
        Exit.Procedure exits = (code, message) -> {
            if (first[0] < 0) first[0] = code;
            throw new Exited();
        };
        Exit.setExitProcedure(exits);
        Exit.setHaltProcedure(exits);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream all = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        PrintStream errors = System.err;
        System.setOut(all);
        System.setErr(all);
        String name = words.get(0);
        Class<?> tool = Class.forName(name.startsWith("kafka.") ? name : TOOLS + name);
        boolean broke = false;
        try {
            scala.Console$.MODULE$.setOutDirect(all);
            tool.getMethod("main", String[].class).invoke(null, (Object) words.subList(1, words.size()).toArray(new String[0]));
        } catch (InvocationTargetException ended) {
            if (!(ended.getCause() instanceof Exited)) {
                ended.getCause().printStackTrace(all);
                broke = true;
            }
        } finally {
            System.setOut(OUT);
            System.setErr(errors);
        }
        printed.append(bytes.toString(StandardCharsets.UTF_8));
        return first[0] >= 0 ? first[0] : broke ? 1 : 0;
    }

    private void check(String what, boolean held) {
        OUT.println((held ? "ok   " : "FAIL ") + what);
        if (!held) failed += 1;
    }
}
