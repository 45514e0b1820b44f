/** App configurations for the tests of this room. */
import { makeAppConfig, type AppConfig, type AppFacts } from '../../../core/config/app-config.js';
import { settingsFrom } from '../../../core/config/settings.js';

type Texts = Parameters<typeof settingsFrom<'app'>>[1];

export function appConfig(facts: Partial<AppFacts> = {}, settings: Texts = {}): AppConfig {
  const defaults: AppFacts = {
    appRoot: '/srv/shop',
    baseUri: '/',
    documentRoot: '/srv/shop/public',
    found: 'node',
    foundStartupFile: 'app.js',
    env: [],
  };
  return makeAppConfig({ ...defaults, ...facts }, settingsFrom('app', settings));
}

/** Variables of the virtual host. */
export function envEntries(...texts: string[]): AppFacts['env'] {
  return texts.map((text) => ({ text, vhostLevel: true }));
}
