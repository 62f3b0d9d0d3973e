import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openDataFolder, StartError } from '../../local/dataFolder.ts';

let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'data-folder-'));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));

const INFO = {
  url: 'http://127.0.0.1:1',
  api_key: 'k',
  management_key: 'm',
  project_id: 'p',
  webhook_secret: 's',
  demo_receiver_url: 'http://127.0.0.1:2/notifications',
  pid: 7,
};

it('one process has a folder at a time, and is named to the other', () => {
  const folder = openDataFolder(path);
  folder.publish(INFO);
  expect(() => openDataFolder(path)).toThrow(StartError);
  expect(() => openDataFolder(path)).toThrow(/in use by the local run at http:\/\/127\.0\.0\.1:1 \(process 7\)/);
  folder.close();
  openDataFolder(path).close();
});

it('what it keeps is there the next time, and only for its owner to read', () => {
  const first = openDataFolder(path);
  first.apiKey.write({ apiKey: 'plai_1' });
  first.publish(INFO);
  expect(statSync(join(path, 'run.json')).mode & 0o077).toBe(0);
  expect(statSync(join(path, 'api-key.json')).mode & 0o077).toBe(0);
  expect(statSync(join(path, 'credentials.json')).mode & 0o077).toBe(0);
  first.close();
  expect(existsSync(join(path, 'run.json'))).toBe(false);

  const second = openDataFolder(path);
  expect(second.apiKey.read()).toEqual({ apiKey: 'plai_1' });
  expect(second.credentials).toEqual(first.credentials);
  second.close();
});

it('a reset empties it', () => {
  const first = openDataFolder(path);
  first.apiKey.write({ apiKey: 'plai_1' });
  first.close();
  const second = openDataFolder(path, { reset: true });
  expect(second.apiKey.read()).toBeUndefined();
  expect(second.credentials).not.toEqual(first.credentials);
  second.close();
});

it("somebody else's folder is never taken, least of all emptied", () => {
  writeFileSync(join(path, 'thesis.txt'), 'years of work');
  expect(() => openDataFolder(path, { reset: true })).toThrow(/is not empty and no data folder/);
  expect(readdirSync(path)).toEqual(['thesis.txt']);
});
