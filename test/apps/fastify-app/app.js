// An ES module with top-level await; fastify's default host is localhost, which it binds once for each address.
import Fastify from 'fastify';

const app = Fastify({ logger: false, trustProxy: 'loopback' });
app.get('/', async () => 'hello from fastify');
app.get('/ip', async (request) => request.ip);
app.get('/addresses', async () => app.addresses());
const address = await app.listen({ port: 3000 });
console.log(`fastify is listening at ${address}`);
