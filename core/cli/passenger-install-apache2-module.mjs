#!/usr/bin/env node
/**
 * Builds what Apache loads and prints what to put into its configuration. Plain JavaScript with built-ins only, so that it
 * works in a checkout where nothing is built yet.
 *
 *   --snippet   only the lines for the configuration; builds nothing
 *   --auto      accepted for scripts written for Passenger: there are no questions anyway
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { argv, exit, stderr, stdout } from 'node:process';
import { ROOT, setUpOrExit } from './setup.mjs';

const USAGE = `Usage: passenger-install-apache2-module [options]

Builds the Apache module and prints what to put into Apache's configuration.

Options:
  --snippet      only print the lines for the configuration
  -a, --auto     no questions (there are none anyway)
  -v, --version  print the version
  -h, --help     print this text
`;
const KNOWN = ['--snippet', '-a', '--auto', '-v', '--version', '-h', '--help'];
const MODULE = join(ROOT, 'apache-module/build/mod_passenger.so');

const snippet = () => `LoadModule passenger_module ${MODULE}
<IfModule mod_passenger.c>
  PassengerRoot ${ROOT}
</IfModule>
`;

const explanation =
  () => `The Apache module is ready. Put these lines into Apache's configuration, on Debian into
/etc/apache2/mods-available/passenger.load, followed by \`a2enmod passenger\`:

${snippet().replace(/^/gm, '    ').trimEnd()}

An app is then served by a virtual host whose DocumentRoot is the app's public directory:

    <VirtualHost *:80>
      ServerName www.example.com
      DocumentRoot /srv/app/public
      <Directory /srv/app/public>
        Require all granted
      </Directory>
    </VirtualHost>

Apache's user and the apps' users must be able to read ${ROOT}.
Check with \`apachectl configtest\`, then restart Apache. \`npx passenger-status\`, run in ${ROOT}, shows what runs.
`;

const args = argv.slice(2);
const unknown = args.filter((arg) => !KNOWN.includes(arg));
if (unknown.length > 0) {
  stderr.write(`unknown option ${unknown.join(' ')}\n\n${USAGE}`);
  exit(1);
}
if (args.includes('-h') || args.includes('--help')) {
  stdout.write(USAGE);
} else if (args.includes('-v') || args.includes('--version')) {
  stdout.write(`${JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version}\n`);
} else if (args.includes('--snippet')) {
  if (!existsSync(MODULE))
    stderr.write('The module is not built yet: run passenger-install-apache2-module without --snippet.\n');
  stdout.write(snippet());
} else {
  setUpOrExit(new Set());
  stdout.write(explanation());
}
