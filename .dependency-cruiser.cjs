/**
 * The directions that imports may run:
 * domain ← contract, ports ← usecases; adapters and providers know domain, ports and contract, never use cases or each
 * other; functions know shared, never each other; infra knows contract and domain; local knows contract and what lies
 * in cdk.out; nothing outside test and bench knows local or cli, but the drawings of docs, which read the template as it
 * does.
 */
const only = (name, from, to, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^(infra|functions|shared|local|cli|operations|docs|bench|test)/', pathNot: to },
});

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    only('domain-is-pure', '^shared/domain/', '^shared/domain/', 'The domain knows nothing but itself.'),
    only('contract-knows-domain', '^shared/contract/', '^shared/(contract|domain)/', 'The contract knows the domain.'),
    only('ports-know-domain', '^shared/ports\\.ts$', '^shared/domain/', 'Ports are named in terms of the domain.'),
    only(
      'usecases',
      '^shared/usecases/',
      '^shared/(usecases|domain|contract|ports\\.ts)',
      'Use cases reach the world by ports.',
    ),
    only(
      'adapters',
      '^shared/adapters/([^/]+)/',
      '^shared/(adapters/$1/|domain|contract|ports\\.ts)',
      'An adapter knows no use case and no other adapter.',
    ),
    only(
      'providers',
      '^shared/providers/',
      '^shared/(providers|domain|ports\\.ts)',
      'A provider knows the port that it implements.',
    ),
    only('lambda', '^shared/lambda/', '^shared/', 'The Lambda shell composes what is in shared.'),
    only('functions', '^functions/', '^shared/', 'A handler composes; it never uses another.'),
    only('infra', '^infra/', '^(infra|shared/(contract|domain))/', 'The stack refers to functions by path.'),
    only(
      'local',
      '^local/',
      '^(local|shared/contract|shared/domain)/',
      'The local run reads the template, not the code.',
    ),
    only(
      'operations',
      '^operations/',
      '^(operations|shared/(adapters|contract|domain))/',
      "The operator's tools speak to the stores.",
    ),
    only(
      'docs',
      '^docs/',
      '^(docs|local|shared/(adapters|contract|domain))/',
      'Drawings are made from tables and from the template.',
    ),
    only('cli', '^cli/', '^(cli|shared/contract|shared/domain)/', 'The command line is a client of the API.'),
    {
      name: 'product-does-not-know-aws-twice',
      comment: 'Only adapters speak to AWS.',
      severity: 'error',
      from: { path: '^(shared/(domain|contract|usecases|providers|ports)|functions)' },
      to: { path: 'node_modules/@aws-sdk/' },
    },
    {
      name: 'bench',
      comment: 'Benchmarks run the whole product; what they measure with is their own. Nothing uses them but tests.',
      severity: 'error',
      from: { pathNot: '^(bench|test)/' },
      to: { path: '^bench/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.json'] },
  },
};
