/** Where this installation is. */
import { resolve } from 'node:path';

/** Top directory of the package: what PassengerRoot names. This file runs as dist/core/cli/installation.js. */
export const ROOT = resolve(__dirname, __dirname.endsWith('/dist/core/cli') ? '../../..' : '../..');

/** The Apache module, relative to ROOT. */
export const MODULE_FILE = 'apache-module/build/mod_passenger.so';
