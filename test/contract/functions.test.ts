import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type FunctionName, type FunctionSpec, functions, VARIABLE_NAMES } from '../../shared/contract/functions.ts';
import { DEFAULT_ROUTE_FUNCTION, type Route, routes } from '../../shared/contract/routes.ts';

const ROOT = new URL('../../functions/', import.meta.url);
const files = ['http', 'workflow', 'schedule'].flatMap((folder) =>
  readdirSync(new URL(`${folder}/`, ROOT)).map((file) => `${folder}/${file.replace(/\.ts$/, '')}`),
);
const source = (name: string) => readFileSync(new URL(`${name}.ts`, ROOT), 'utf8');

describe('the table of functions', () => {
  it('names the files that are there, and no other', () => {
    expect(files.sort()).toEqual(Object.keys(functions).sort());
  });

  it('has a function for every route, and the one behind $default', () => {
    const http = Object.keys(functions).filter((name) => name.startsWith('http/'));
    expect(http.sort()).toEqual([...Object.keys(routes), DEFAULT_ROUTE_FUNCTION].map((name) => `http/${name}`).sort());
  });

  it('lets every route of projects count against their quotas, and no other function', () => {
    const counting = Object.entries<FunctionSpec>(functions).filter(([, { rights }]) => rights.table?.quotas);
    const ofProjects = Object.entries<Route>(routes).filter(([, { caller }]) => caller === 'project');
    expect(counting.map(([name]) => name).sort()).toEqual(ofProjects.map(([name]) => `http/${name}`).sort());
  });

  it.each(files)('%s composes in at most 40 lines and asks for its own variables', (name) => {
    const text = source(name);
    expect(text.split('\n').length - 1).toBeLessThanOrEqual(40);
    expect(text).toMatch(/^export (const handler =|async function handler\()/m);
    expect(text).toContain(`functionEnvironment('${name}')`);
    expect(text.includes('readModels()')).toBe('models' in functions[name as FunctionName]);
  });

  it.each(files)('%s uses each variable that it is given', (name) => {
    const text = source(name);
    const given = functions[name as FunctionName].variables;
    const machines = ['BATCH_MACHINE_ARN', 'NOTIFICATION_MACHINE_ARN', 'SNAPSHOT_MACHINE_ARN'];
    const used = VARIABLE_NAMES.filter((variable) =>
      machines.includes(variable)
        ? text.includes('machinePorts(environment') && (given as readonly string[]).includes(variable)
        : text.includes(`environment.${variable}`),
    );
    expect(used).toEqual(VARIABLE_NAMES.filter((variable) => (given as readonly string[]).includes(variable)));
  });
});
