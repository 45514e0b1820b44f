/**
 * Every message that an operator may see, with its permanent number. The rows stand in one file for each room
 * (numbers: 0 base, 1 shim, 2 config, 3 wire, 4 gateway, 5 routing and pool, 6 spawn, 7 supervisor and native,
 * 8 admin and instance). A number is used in one place of the code; a number that is no longer used stays in the
 * table as retired. conf-examples/ERRORS.md is generated from here.
 */
import { BASE_ERRORS } from './error-codes/base.js';
import { SHIM_ERRORS } from './error-codes/shim.js';
import { CONFIG_ERRORS } from './error-codes/config.js';
import { WIRE_ERRORS } from './error-codes/wire.js';
import { GATEWAY_ERRORS } from './error-codes/gateway.js';
import { POOL_ERRORS } from './error-codes/pool.js';
import { SPAWN_ERRORS } from './error-codes/spawn.js';
import { SUPERVISOR_ERRORS } from './error-codes/supervisor.js';
import { INSTANCE_ERRORS } from './error-codes/instance.js';

export const ERROR_CODES = {
  ...BASE_ERRORS,
  ...SHIM_ERRORS,
  ...CONFIG_ERRORS,
  ...WIRE_ERRORS,
  ...GATEWAY_ERRORS,
  ...POOL_ERRORS,
  ...SPAWN_ERRORS,
  ...SUPERVISOR_ERRORS,
  ...INSTANCE_ERRORS,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;
