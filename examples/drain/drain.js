// Express: the drain signal. See docs/concepts/drain.md. Not tested here: try it before you trust it.
// The keep-alive time-out is 5 s by default; server.close() closes idle connections, so do not call it on the signal.

import express from 'express';
import { createServer } from 'node:http';

let draining = false;
const sockets = new Set();

const app = express();
app.use((request, response, next) => {
  if (draining) response.setHeader('Connection', 'close'); // Node closes after this answer
  next();
});
app.get('/', (request, response) => response.send('hello'));

const server = createServer(app);
server.keepAliveTimeout = 3_600_000; // longer than any client's
server.on('connection', (socket) => {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
});
server.listen(8080);

const admin = express();
admin.post('/drain', (request, response) => { draining = true; response.sendStatus(204); });
admin.delete('/drain', (request, response) => { draining = false; response.sendStatus(204); });
admin.get('/api/connections', (request, response) => response.json({ active: sockets.size, draining }));
admin.listen(8081);
