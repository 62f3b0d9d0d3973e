import { type Route, routes } from './routes.ts';

const SEGMENT = /\{\w+\}/g;

function patternOf(path: string): RegExp {
  const literal = (part: string) => part.replace(/[.*+?^$()|[\]\\]/g, '\\$&');
  return new RegExp(`^${path.split(SEGMENT).map(literal).join('[^/]+')}$`);
}

const paths = [...new Set(Object.values(routes).map((route) => route.path))].map((path) => ({
  path,
  pattern: patternOf(path),
  parameters: path.match(SEGMENT)?.length ?? 0,
  methods: Object.values<Route>(routes)
    .filter((route) => route.path === path)
    .map((route) => route.method),
}));
// A literal path beats one with a parameter, as in HTTP API.
paths.sort((a, b) => a.parameters - b.parameters);

/** The methods that the table of routes has for this path; none for a path that it does not have. */
export function methodsAt(path: string): Route['method'][] {
  return paths.find(({ pattern }) => pattern.test(path))?.methods ?? [];
}
