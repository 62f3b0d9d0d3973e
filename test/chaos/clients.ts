import type { Simulation } from '../simulation/simulation.ts';
import { live, type Scene } from '../soak/life.ts';
import type { Random } from '../support/random.ts';
import { createApi } from './api.ts';
import { createChaosClient } from './client.ts';
import type { Injector } from './injector.ts';
import type { RunSpec } from './runSpec.ts';
import { SKEW_MS } from './weather.ts';

const ANY_SECONDS = Number.POSITIVE_INFINITY;

/** What a project's clients have to do with. */
export function createScene(
  world: Pick<Scene, 'model' | 'source' | 'pause'> & { simulation: Simulation; injector: Injector; spec: RunSpec },
  projectId: string,
  random: Random,
): Scene {
  const { simulation, injector, spec, model, source, pause } = world;
  const { clock_wrong: wrong, clock_jumps: jumps } = spec.weather.rates;
  return {
    client: createChaosClient(simulation, createApi(simulation, projectId), random.fork('client'), pause),
    ...{ model, source, pause },
    system: { wasUp: () => true, upBefore: (to, from) => to - from },
    receiverUrl: `http://127.0.0.1/${projectId}`,
    bounds: {
      ...{ cancelSeconds: ANY_SECONDS, cancelAfterRestartSeconds: ANY_SECONDS, expirySeconds: ANY_SECONDS },
      skewMs: wrong + jumps > 0 ? SKEW_MS.ahead + SKEW_MS.behind : 0,
    },
    books: new Map(),
    tally: { lines: 0, output: 0, errors: 0, byCode: new Map() },
    longest: { cancelMs: 0, expiryMs: 0 },
    counts: { cancels: 0, cancelsTooLate: 0, retries: 0, retriesRefused: 0, snapshots: 0 },
    // Seldom, once nothing but waiting goes on.
    lookMs: {
      get least() {
        return injector.isOver ? 20_000 : 3_000;
      },
      get most() {
        return injector.isOver ? 120_000 : 20_000;
      },
      eager: 2_000,
    },
    isClosing: () => false,
  };
}

/** All clients of a project, until each of its batches is through. */
export async function runProject(scene: Scene, project: RunSpec['projects'][number], random: Random): Promise<void> {
  const rotating = project.rotatesSecret ? rotate(scene, random.fork('rotation')) : undefined;
  await Promise.all(project.batches.map((batch) => live(scene, random.fork(batch.name), batch)));
  await rotating;
}

/** Has the operator look beside the schedule. */
export async function operate(injector: Injector, check: () => Promise<unknown>, random: Random): Promise<void> {
  while (!injector.isOver) {
    await injector.time.clock.sleep(random.int(10_000, 300_000));
    await check();
  }
}

async function rotate({ client, pause }: Scene, random: Random): Promise<void> {
  for (let times = random.int(1, 3); times > 0; times--) {
    await pause(random.int(10_000, 300_000));
    await client.call('POST', '/webhooks/secret/rotate');
  }
}
