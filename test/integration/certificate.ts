/**
 * A TLS front of its own port with a self-signed certificate, made anew for each test, so that no key is ever in the tree.
 * The port of the harness stays plain: httpd asks the first virtual host of an address whether it speaks TLS.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { freePort, type Mpm } from '../../core/cli/private-apache.js';
import type { Apache } from '../support/apache.js';
import type { Scene } from './kit.js';

export interface TlsFront {
  readonly apache: Apache;
  readonly app: string;
  readonly tlsPort: number;
}

/** The probe, or another app, as `a.test`, plain on Apache's port and over TLS on `tlsPort`. */
export async function serveTls(
  scene: Scene,
  config = '',
  modules: readonly string[] = [],
  options: { readonly app?: string; readonly mpm?: Mpm } = {},
): Promise<TlsFront> {
  const app = await scene.app(options.app ?? 'probe');
  const tlsPort = await freePort();
  const files = ['-keyout', `${app}/key.pem`, '-out', `${app}/cert.pem`];
  const kind = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=a.test'];
  execFileSync('openssl', ['req', ...kind, ...files], { stdio: 'ignore' });
  chmodSync(`${app}/key.pem`, 0o600);
  const apache = await scene.start({
    mpm: options.mpm ?? 'event',
    modules: ['ssl', 'socache_shmcb', ...modules],
    server: `Listen 127.0.0.1:${tlsPort}
${config}
<VirtualHost 127.0.0.1:${tlsPort}>
ServerName a.test
DocumentRoot ${app}/public
<Directory ${app}/public>
Require all granted
</Directory>
SSLEngine on
SSLCertificateFile ${app}/cert.pem
SSLCertificateKeyFile ${app}/key.pem
</VirtualHost>`,
    vhosts: [{ name: 'a.test', documentRoot: `${app}/public` }],
  });
  // mod_ssl grumbles about self-signed certificates, its own build and a session cache that nobody needs here.
  apache.allowLog(/AH01906|AH01909|AH02217|AH01882|AH01873/);
  return { apache, app, tlsPort };
}
