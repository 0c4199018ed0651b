// net/http: the drain signal. See docs/concepts/drain.md. Not tested here: try it before you trust it.
// server.SetKeepAlivesEnabled(false) would close idle connections at once.

// Drain lets the clients of one server go, and counts those that are still there.
type Drain struct {
	draining atomic.Bool
	active   atomic.Int64
}

// Announce: while draining, every answer says "Connection: close"; net/http closes after it.
func (d *Drain) Announce(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// Count is the server's ConnState hook.
func (d *Drain) Count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		d.active.Add(1)
	case http.StateClosed, http.StateHijacked:
		d.active.Add(-1)
	}
}

// Admin belongs on a port that clients do not reach.
func (d *Drain) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /drain", func(http.ResponseWriter, *http.Request) { d.draining.Store(true) })
	mux.HandleFunc("DELETE /drain", func(http.ResponseWriter, *http.Request) { d.draining.Store(false) })
	mux.HandleFunc("GET /api/connections", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"active": d.active.Load(), "draining": d.draining.Load()})
	})
	return mux
}

func main() {
	drain := &Drain{}
	go func() { log.Fatal(http.ListenAndServe(":8081", drain.Admin())) }()
	server := &http.Server{Addr: ":8080", Handler: drain.Announce(app), ConnState: drain.Count} // IdleTimeout: none
	log.Fatal(server.ListenAndServe())
}
