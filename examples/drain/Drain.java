// Spring Boot with Tomcat: the drain signal. See docs/concepts/drain.md. Not tested here: try it before you trust it.
// application.properties:
//   management.server.port=8081
//   management.endpoints.web.exposure.include=drain,health
//   server.tomcat.keep-alive-timeout=1h
//   server.tomcat.max-keep-alive-requests=-1
// Signal and quiet are both /actuator/drain on port 8081. Set `below` one higher than the number of an idle pod.

@Component
@Endpoint(id = "drain")
public class Drain extends OncePerRequestFilter {
    private volatile boolean draining;
    private final ServletWebServerApplicationContext context;

    public Drain(ServletWebServerApplicationContext context) { this.context = context; }

    @Override
    protected void doFilterInternal(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws ServletException, IOException {
        if (draining) response.setHeader("Connection", "close"); // Tomcat closes after this answer
        chain.doFilter(request, response);
    }

    @WriteOperation
    public void start() { draining = true; }

    @DeleteOperation
    public void stop() { draining = false; }

    @ReadOperation
    public Map<String, Object> connections() {
        var handler = ((TomcatWebServer) context.getWebServer()).getTomcat().getConnector().getProtocolHandler();
        return Map.of("active", ((AbstractProtocol<?>) handler).getConnectionCount(), "draining", draining);
    }
}
