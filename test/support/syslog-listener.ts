/**
 * Stands in for the machine's syslog daemon: takes what is sent to /dev/log. Node has no datagram Unix sockets, so perl
 * (part of every Debian) listens. For tests as root on a machine without a daemon.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { eventually } from './eventually.js';

const SOCKET = '/dev/log';
const LISTEN = `use IO::Socket::UNIX; use Socket; $| = 1;
my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die "listen: $!";
chmod 0666, $ARGV[0]; print "ready\\n";
while (defined $socket->recv(my $line, 16384)) { print "$line\\n"; }`;

export class SyslogListener {
  /** Everything that has come so far. */
  text = '';

  private constructor(private readonly perl: ChildProcess) {
    perl.stdout?.on('data', (part: Buffer) => (this.text += part.toString()));
  }

  /** Options of a test: it is skipped, with the reason, where a real daemon has the socket. */
  static obstacle(): { skip?: string } {
    return existsSync(SOCKET) ? { skip: 'a syslog daemon runs on this machine' } : {};
  }

  static async start(): Promise<SyslogListener> {
    const perl = spawn('perl', ['-e', LISTEN, SOCKET], { stdio: ['ignore', 'pipe', 'inherit'] });
    const listener = new SyslogListener(perl);
    await eventually(5000, 'the stand-in for syslog listens', () => listener.text.startsWith('ready'));
    return listener;
  }

  /** It takes nothing any more, as a daemon that hangs. */
  hang(): void {
    this.perl.kill('SIGSTOP');
  }

  goOn(): void {
    this.perl.kill('SIGCONT');
  }

  stop(): void {
    this.perl.kill('SIGKILL');
    rmSync(SOCKET, { force: true });
  }
}
