import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/** How many requests of each kind a broker has answered since its start: its own count, so that nothing stands before it. */
class Requests {
    public static void main(String[] args) throws Exception {
        var broker = com.sun.tools.attach.VirtualMachine.attach(args[0]);
        var address = broker.startLocalManagementAgent();
        broker.detach();
        try (var connector = JMXConnectorFactory.connect(new JMXServiceURL(address))) {
            var server = connector.getMBeanServerConnection();
            for (var name : server.queryNames(new ObjectName("kafka.network:type=RequestMetrics,name=RequestsPerSec,*"), null)) {
                System.out.println(name.getKeyProperty("request") + " " + server.getAttribute(name, "Count"));
            }
        }
    }
}
