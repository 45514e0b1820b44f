// An app that cannot start: says something on both outputs, then throws.
console.log('broken says: about to fail');
console.error('broken complains: nothing configured');
function connectToDatabase() {
  throw new Error('the database of the broken app is away');
}
connectToDatabase();
