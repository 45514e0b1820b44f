'use strict';
const Koa = require('koa');

const app = new Koa({ proxy: true });
app.use((ctx) => {
  ctx.body = ctx.path === '/ip' ? ctx.ip : 'hello from koa';
});
app.listen('3000');
