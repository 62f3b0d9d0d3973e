import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

/** Names of what nobody may find out by measuring how long a comparison takes, or that look as if they were. */
const SECRET =
  /secret|signature|presented|managementKey|apiKey$|operatorKey|password|hash$|digest|hmac|token$|accepted|^expected$/i;
const EQUALITY = new Set([
  ts.SyntaxKind.EqualsEqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsEqualsToken,
  ts.SyntaxKind.EqualsEqualsToken,
  ts.SyntaxKind.ExclamationEqualsToken,
]);
/** Methods that stop at the first byte that differs. */
const EARLY_EXITS = new Set([
  'includes',
  'indexOf',
  'equals',
  'has',
  'startsWith',
  'endsWith',
  'localeCompare',
  'compare',
]);

/** Files that see no secret: what they compare only sounds like one. */
const NO_SECRET: Record<string, string> = {
  'local/s3/actions/completeMultipartUpload.ts': 'checksums that the caller sent along',
  'local/s3/actions/listObjectsV2.ts': 'places in a listing',
  'local/secrets/server.ts': 'names of secrets',
  'shared/adapters/dynamodb/batchErrors.ts': 'marks of own writes',
  'shared/adapters/dynamodb/batchMoves.ts': 'marks of own writes',
  'shared/adapters/dynamodb/shardStore.ts': 'marks of own writes',
  'shared/adapters/dynamodb/snapshotStore.ts': 'marks of own writes',
  'shared/usecases/finalizeBatch/endBatch.ts': 'numbers of lines',
  'shared/usecases/makeBatch.ts': "bodies of the project's own",
};
/** In a file that does see some: the prefix that every key has. */
const ALLOWED = ['shared/usecases/authenticate.ts: token.startsWith(API_KEY_PREFIX)'];

/** What is compared, by the name that stands last: `a.b.secret` → `secret`, `key.digest('hex')` → `digest`. */
function nameOf(node: ts.Expression): string {
  if (ts.isIdentifier(node)) return node.text;
  if (ts.isPropertyAccessExpression(node)) return node.name.text;
  if (ts.isCallExpression(node)) return nameOf(node.expression);
  if (ts.isParenthesizedExpression(node) || ts.isAwaitExpression(node)) return nameOf(node.expression);
  if (ts.isElementAccessExpression(node)) return nameOf(node.expression);
  return '';
}

const isPlain = (node: ts.Expression) =>
  ts.isLiteralExpression(node) ||
  ts.isTypeOfExpression(node) ||
  nameOf(node) === 'undefined' ||
  node.kind === ts.SyntaxKind.NullKeyword ||
  node.kind === ts.SyntaxKind.TrueKeyword ||
  node.kind === ts.SyntaxKind.FalseKeyword;

/** Comparisons in which a value with such a name is held against another value, and not by `timingSafeEqual`. */
function suspects(source: string): string[] {
  const file = ts.createSourceFile('x.ts', source, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  const held = (node: ts.Node, left: ts.Expression, right: ts.Expression) => {
    if (isPlain(left) || isPlain(right)) return;
    if (SECRET.test(nameOf(left)) || SECRET.test(nameOf(right))) found.push(node.getText(file).replace(/\s+/g, ' '));
  };
  const visit = (node: ts.Node): void => {
    if (ts.isBinaryExpression(node) && EQUALITY.has(node.operatorToken.kind)) held(node, node.left, node.right);
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const [argument] = node.arguments;
      if (argument && EARLY_EXITS.has(node.expression.name.text)) held(node, node.expression.expression, argument);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

describe('secrets', () => {
  const found = globSync('{functions,shared,local,operations}/**/*.ts', { cwd: ROOT }).flatMap((file) =>
    suspects(readFileSync(join(ROOT, file), 'utf8')).map((text) => ({ file, text })),
  );

  it('are compared in constant time alone', () => {
    const elsewhere = found.filter(({ file }) => !(file in NO_SECRET));
    expect(elsewhere.map(({ file, text }) => `${file}: ${text}`)).toEqual(ALLOWED);
  });

  it.each(Object.keys(NO_SECRET))('would need no exception in %s if it compared nothing', (exception) => {
    expect(found.map(({ file }) => file)).toContain(exception);
  });

  it.each([
    'presented === expected',
    'if (sign(key, text) !== claim.signature) throw no',
    '(await operatorKey.accepted()).includes(given)',
    'a.digest().equals(b)',
    'keys.has(secret)',
  ])('would be found in: %s', (source) => {
    expect(suspects(source)).toHaveLength(1);
  });

  it.each(['secret === undefined', "typeof token === 'string'", 'timingSafeEqual(digest(a), digest(b))'])(
    'are not compared in: %s',
    (source) => {
      expect(suspects(source)).toEqual([]);
    },
  );
});
