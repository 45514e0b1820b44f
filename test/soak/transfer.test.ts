/** 5 GB up and down: `npm run soak`. Needs 5 GB of room where PassengerDataBufferDir points by default. */
import { rule } from '../integration/kit.js';
import { MB, upAndDown } from '../integration/transfer.js';

for (const upload of ['PassengerBufferUpload on', 'PassengerBufferUpload off']) {
  rule(`5 GB up and down with flat memory (${upload})`, { timeoutMs: 600_000 }, (scene) =>
    upAndDown(scene, 5000 * MB, upload),
  );
}
