/** A URL of a client that no deployment connects to unless it allows private networks. */
export type ForbiddenTarget = {
  /** `PORT` stands for a port at which somebody listens, on every address of the machine. */
  url: string;
  /** Where it is refused: as the request comes in (400), or as the name is resolved for a connection. */
  refused: 'creation' | 'connection';
  /** What the name resolves to. Also where it is refused before: then nobody must have asked. */
  dns: string[];
  /** What an input file's batch fails with, should the URL have got past its creation. */
  code: 'input_file_forbidden' | 'input_file_unreachable';
};

const PATH = '/in.jsonl?token=SECRET';
const at = (host: string, port: number | 'PORT' | undefined = 'PORT') =>
  `https://${host}${port === undefined ? '' : `:${port}`}${PATH}`;

/** Visible in the URL itself. */
const seen = (url: string, code: ForbiddenTarget['code'] = 'input_file_forbidden'): ForbiddenTarget => ({
  url,
  refused: 'creation',
  dns: ['127.0.0.1'],
  code,
});
/** Met when the name is resolved. */
const named = (host: string, dns: string[], port: number | 'PORT' | undefined = 'PORT'): ForbiddenTarget => ({
  url: at(host, port),
  refused: 'connection',
  dns,
  code: 'input_file_forbidden',
});

const LITERALS = [
  // Loopback, in each way that inet_aton and the WHATWG parser read IPv4.
  '127.0.0.1',
  '127.0.0.2',
  '127.255.255.254',
  '127.1',
  '127.0.1',
  '127.0.0.1.',
  '0x7f.1',
  '0x7f.0x0.0x0.0x1',
  '0x7f000001',
  '0X7F000001',
  '0177.0.0.1',
  '0177.0x0.0.1',
  '00000177.1',
  '017700000001',
  '2130706433',
  '2130706433.',
  // The same in characters that IDNA maps to digits and dots, and percent-encoded.
  '127。0。0。1',
  '127．0．0．1',
  '127｡0｡0｡1',
  '１２７.0.0.1',
  '①②⑦.0.0.1',
  '𝟏𝟐𝟕.0.0.1',
  '127.0.0.1\u00ad',
  '%31%32%37.0.0.1',
  '127%2e0%2e0%2e1',
  '%E2%91%A0%E2%91%A1%E2%91%A6.0.0.1',
  // This network.
  '0',
  '0.0.0.0',
  '0x0',
  '0.1.2.3',
  // Metadata services: EC2's in every notation, ECS's credentials, EC2's in IPv6, Alibaba's, Oracle's.
  '169.254.169.254',
  '169.254.43518',
  '169.16689662',
  '2852039166',
  '0xa9fea9fe',
  '0xa9.0xfe.0xa9.0xfe',
  '0251.0376.0251.0376',
  '025177524776',
  '169.254.169.254.',
  '169。254。169。254',
  '169.254.170.2',
  '169.254.169.253',
  '[fd00:ec2::254]',
  '[fd00:ec2::23]',
  '100.100.100.200',
  '192.0.0.192',
  // Networks of companies, of VPCs, of carriers.
  '10.0.0.1',
  '10.0.0.2',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.0.1',
  '0300.0250.0.1',
  '3232235521',
  '100.64.0.1',
  '100.127.255.255',
  '198.19.255.254',
  // Special ranges.
  '192.0.0.1',
  '192.0.0.170',
  '192.0.2.1',
  '192.88.99.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '4294967295',
  '0xffffffff',
  // IPv6.
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[0000:0000:0000:0000:0000:0000:0000:0001]',
  '[::]',
  '[fe80::1]',
  '[febf::1]',
  '[fec0::1]',
  '[fc00::1]',
  '[fd12:3456:789a::1]',
  '[ff02::1]',
  '[ff0e::1]',
  '[100::1]',
  '[2001:db8::1]',
  '[2001:2::1]',
  '[2001:10::1]',
  '[2001:20::1]',
  '[3fff::1]',
  '[4000::1]',
  '[5f00::1]',
  // IPv4 inside IPv6: mapped, compatible, translated (SIIT, NAT64 with both prefixes), 6to4, Teredo.
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::FFFF:7F00:0001]',
  '[0:0:0:0:0:ffff:127.0.0.1]',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[::ffff:10.0.0.1]',
  '[::ffff:0.0.0.0]',
  '[::127.0.0.1]',
  '[::7f00:1]',
  '[::a9fe:a9fe]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b:1::7f00:1]',
  '[64:ff9b:1:fffe::1]',
  '[2002:7f00:1::]',
  '[2002:a9fe:a9fe::1]',
  '[2001:0:4136:e378:8000:63bf:80ff:fffe]',
  '[2001::1]',
];

/** Loopback by definition, whatever a resolver makes of it. */
const LOCALHOSTS = [
  'localhost',
  'localhost.',
  'LOCALHOST',
  'LocalHost',
  'ⓛocalhost',
  'lo\u00adcalhost',
  'localhost%2e',
  'api.localhost',
  'metadata.google.internal.localhost.',
];

/** Ports that the targets themselves name: Lambda's runtime API and the secrets extension. */
export const NAMED_PORTS = [9001, 2773];

export const FORBIDDEN_TARGETS: ForbiddenTarget[] = [
  ...LITERALS.map((host) => seen(at(host))),
  ...LOCALHOSTS.map((host) => seen(at(host))),
  seen('https://127.0.0.1:9001/2018-06-01/runtime/invocation/next'),
  seen('https://localhost:2773/secretsmanager/get?secretId=SECRET'),
  seen('https://[::1]:9001/2018-06-01/runtime/invocation/next'),

  // What a parser of another kind would read otherwise.
  seen('HTTPS://127.0.0.1:PORT/'),
  seen('https:127.0.0.1:PORT/'),
  seen('https:///127.0.0.1:PORT/'),
  seen('https:\\\\127.0.0.1:PORT\\in.jsonl'),
  seen('https://127.0.0.1:PORT\\@files.test/'),
  seen('https://127.0.0.1:PORT#@files.test/'),
  seen('https://127.0.0.1:PORT?@files.test/'),
  seen('ht\ntps://127.0.0.1:PORT/', 'input_file_unreachable'),
  seen('https://127.0.\t0.1:PORT/'),
  seen(' https://127.0.0.1:PORT/', 'input_file_unreachable'),
  seen('https://[fe80::1%25lo]:PORT/'),
  seen('https://[::1%25lo]:PORT/'),
  seen('https://[fe80::1%lo]:PORT/'),
  seen('https://[::ffff:127.0.0.1%25lo]:PORT/'),
  seen('https://127.0.0.1%00.files.test:PORT/'),
  seen('https://127.0.0.1%2f.files.test:PORT/'),
  seen('https://256.256.256.256:PORT/'),
  seen('https://127.0.0.1.0:PORT/'),
  seen('https://127.0.0.09:PORT/'),
  seen('https://127.0.0.1:65536/'),
  seen('https://files.test:PORT:80/'),
  seen('https://'),
  seen('//127.0.0.1:PORT/', 'input_file_unreachable'),
  seen('not a url', 'input_file_unreachable'),

  // Other schemes.
  seen('http://files.test:PORT/'),
  seen('http://127.0.0.1:PORT/'),
  seen('http://169.254.169.254/latest/meta-data/iam/security-credentials/'),
  seen('http://[fd00:ec2::254]/latest/meta-data/'),
  seen('ftp://127.0.0.1:PORT/in.jsonl', 'input_file_unreachable'),
  seen('gopher://127.0.0.1:PORT/_GET%20/', 'input_file_unreachable'),
  seen('dict://127.0.0.1:PORT/stat', 'input_file_unreachable'),
  seen('ws://127.0.0.1:PORT/', 'input_file_unreachable'),
  seen('file:///etc/passwd', 'input_file_unreachable'),
  seen('file://127.0.0.1/etc/passwd', 'input_file_unreachable'),
  seen('data:application/jsonl,%7B%7D', 'input_file_unreachable'),
  seen('blob:https://127.0.0.1:PORT/1', 'input_file_unreachable'),
  seen('javascript:1', 'input_file_unreachable'),
  seen('unix:/var/run/docker.sock', 'input_file_unreachable'),

  // Credentials.
  seen('https://user:SECRET@files.test:PORT/'),
  seen('https://user@files.test:PORT/'),
  seen('https://:SECRET@files.test:PORT/'),
  seen('https://files.test@127.0.0.1:PORT/'),
  seen('https://127.0.0.1@files.test:PORT/'),
  seen('https://files.test:443@127.0.0.1:PORT/'),

  // Ports of other protocols.
  ...[0, 21, 22, 23, 25, 53, 110, 143, 389, 465, 587, 636, 993, 2049, 5060, 6000, 6667, 10080].map((port) =>
    seen(at('files.test', port)),
  ),

  // Names that lead inside. The resolver is the test's: no public name can be counted on to do so.
  named('internal.test', ['127.0.0.1']),
  named('internal.test.', ['127.0.0.1']),
  named('INTERNAL.test', ['127.0.0.1']),
  named('ünternal.test', ['127.0.0.1']),
  named('127.0.0.1.nip.test', ['127.0.0.1']),
  named('localhost.internal.test', ['127.0.0.1']),
  named('localhost..', ['127.0.0.1']),
  named('127.0.0.1..', ['127.0.0.1']),
  named('runtime', ['127.0.0.1'], 9001),
  named('secrets.test', ['127.0.0.1', '::1'], 2773),
  named('any.test', ['0.0.0.0']),
  named('any6.test', ['::']),
  named('six.test', ['::1']),
  named('mapped.test', ['::ffff:127.0.0.1']),
  named('mapped-hex.test', ['::ffff:7f00:1']),
  named('mapped-zone.test', ['::ffff:127.0.0.1%lo']),
  named('compatible.test', ['::7f00:1']),
  named('nat64.test', ['64:ff9b::7f00:1']),
  named('local-nat64.test', ['64:ff9b:1::808:808']),
  named('6to4.test', ['2002:7f00:1::']),
  named('teredo.test', ['2001:0:4136:e378:8000:63bf:80ff:fffe']),
  named('link.test', ['fe80::1']),
  named('link-zone.test', ['fe80::1%lo']),
  named('loopback-zone.test', ['::1%lo']),
  named('metadata.google.internal', ['169.254.169.254'], undefined),
  named('instance-data.ec2.internal', ['169.254.169.254'], undefined),
  named('metadata6.test', ['fd00:ec2::254'], undefined),
  named('ecs.test', ['169.254.170.2'], undefined),
  named('ip-10-0-0-1.ec2.internal', ['10.0.0.1']),
  named('rds.test', ['172.31.0.10'], 3306),
  named('redis.test', ['192.168.1.2'], 6379),
  named('carrier.test', ['100.64.0.1']),
  named('broadcast.test', ['255.255.255.255']),
  named('multicast.test', ['224.0.0.1', 'ff02::1']),
  // One address of several is enough, wherever it stands: which one is tried is not left to chance.
  named('mixed-last.test', ['8.8.8.8', '127.0.0.1']),
  named('mixed-first.test', ['127.0.0.1', '8.8.8.8']),
  named('mixed-families.test', ['2606:4700:4700::1111', '127.0.0.1']),
  named('mixed-families-6.test', ['1.1.1.1', '::1']),
];

/** What the names of the table resolve to; those that are not in it do not exist. */
export function resolverOf(targets: readonly ForbiddenTarget[], asked: string[] = []) {
  const names = new Map<string, string[]>();
  for (const { url, refused, dns } of targets) {
    if (refused === 'connection') names.set(new URL(url.replace('PORT', '443')).hostname, dns);
  }
  return async (hostname: string) => {
    asked.push(hostname);
    const addresses = names.get(hostname) ?? ['127.0.0.1'];
    return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  };
}
