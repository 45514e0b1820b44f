// An app that lives and never listens.
console.log('silent lives');
setInterval(() => undefined, 1000);
