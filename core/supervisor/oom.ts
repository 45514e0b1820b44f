/** The kernel's choice of a victim when memory runs out: never the supervisor, whose death would end every app. */
import fs from 'node:fs';

const FILE = '/proc/self/oom_score_adj';
const NEVER = '-1000';

/**
 * Exempts this process. Returns the score that children are to get back, or undefined when nothing was changed
 * (a container without the right).
 */
export function protectFromOomKiller(): number | undefined {
  try {
    const before = Number(fs.readFileSync(FILE, 'utf8'));
    fs.writeFileSync(FILE, NEVER);
    return before;
  } catch {
    return undefined;
  }
}
