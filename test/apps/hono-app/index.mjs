import { serve } from '@hono/node-server';
import { Hono } from 'hono';

const app = new Hono();
app.get('/', (c) => c.text('hello from hono'));
app.post('/echo', async (c) => c.text(await c.req.text()));
serve({ fetch: app.fetch, port: 3000 }, (info) => console.log(`hono is listening, port ${info?.port}`));
