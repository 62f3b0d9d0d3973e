import type { RoutePlan } from '../template/plan.ts';

export type RouteMatch = { route: RoutePlan; routeKey: string; pathParameters: Record<string, string> | undefined };

type Compiled = { route: RoutePlan; segments: string[]; literals: number; greedy: boolean };

function compile(route: RoutePlan): Compiled {
  const segments = route.path.split('/').slice(1);
  return {
    route,
    segments,
    literals: segments.filter((segment) => !segment.startsWith('{')).length,
    greedy: route.path.endsWith('+}'),
  };
}

function match(compiled: Compiled, segments: string[]): Record<string, string> | undefined {
  const { segments: pattern, greedy } = compiled;
  if (greedy ? segments.length < pattern.length : segments.length !== pattern.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const given = segments[index] ?? '';
    if (part.endsWith('+}')) {
      parameters[part.slice(1, -2)] = segments.slice(index).join('/');
      return parameters;
    }
    if (part.startsWith('{')) {
      if (given === '') return undefined;
      parameters[part.slice(1, -1)] = given;
    } else if (part !== given) return undefined;
  }
  return parameters;
}

/**
 * Chooses a route as an HTTP API does: a full match before a greedy one before `$default`; a literal segment before
 * a parameter, a method before ANY.
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
 */
export function routeTable(routes: readonly RoutePlan[]): (method: string, path: string) => RouteMatch | undefined {
  const fallback = routes.find((route) => route.path === '$default');
  const compiled = routes
    .filter((route) => route !== fallback)
    .map(compile)
    .sort(
      (a, b) =>
        Number(a.greedy) - Number(b.greedy) ||
        b.literals - a.literals ||
        Number(a.route.method === 'ANY') - Number(b.route.method === 'ANY'),
    );
  return (method, path) => {
    const segments = path.split('/').slice(1);
    for (const candidate of compiled) {
      const { route } = candidate;
      if (route.method !== 'ANY' && route.method !== method) continue;
      const parameters = match(candidate, segments);
      if (!parameters) continue;
      const pathParameters = Object.keys(parameters).length > 0 ? parameters : undefined;
      return { route, routeKey: `${route.method} ${route.path}`, pathParameters };
    }
    return fallback && { route: fallback, routeKey: '$default', pathParameters: undefined };
  };
}
