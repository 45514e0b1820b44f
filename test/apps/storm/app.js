// An app that starts well and dies a moment later, for ever.
require('node:http')
  .createServer((req, res) => res.end('still here'))
  .listen(3000, () => setTimeout(() => process.exit(7), 100));
