/** What the template asks for, in local names: all that the local run is made from. */
export type LocalPlan = {
  stackName: string;
  functions: FunctionPlan[];
  tables: TablePlan[];
  buckets: { name: string }[];
  machines: MachinePlan[];
  routes: RoutePlan[];
  schedules: SchedulePlan[];
  secrets: SecretPlan[];
  outputs: Record<string, string>;
};

export type FunctionPlan = {
  logicalId: string;
  name: string;
  arn: string;
  /** File that exports the handler, and the export's name. */
  entryFile: string;
  handlerExport: string;
  environment: Record<string, string>;
  timeoutSeconds: number;
  memoryMb: number;
  reservedConcurrency: number | undefined;
  ownProcess?: boolean;
};

export type TableKey = { AttributeName: string; KeyType: 'HASH' | 'RANGE' };
export type IndexPlan = {
  IndexName: string;
  KeySchema: TableKey[];
  Projection: { ProjectionType?: 'ALL' | 'KEYS_ONLY' | 'INCLUDE' | undefined; NonKeyAttributes?: string[] | undefined };
};
/** In CreateTable's own words. */
export type TablePlan = {
  name: string;
  keySchema: TableKey[];
  attributeDefinitions: { AttributeName: string; AttributeType: 'S' | 'N' | 'B' }[];
  globalIndexes: IndexPlan[];
  localIndexes: IndexPlan[];
};

export type MachinePlan = { name: string; arn: string; definition: Record<string, unknown> };

/** `method` is `ANY` or a verb; `path` is a pattern, or `$default` for what no other route takes. */
export type RoutePlan = { method: string; path: string; functionArn: string; timeoutMs: number };

export type SchedulePlan = { name: string; arn: string; everyMs: number; functionArn: string; input: unknown };

export type SecretPlan = {
  logicalId: string;
  name: string;
  arn: string;
  value: string | undefined;
  /** `GenerateSecretString`, in the template's own words. */
  generate: Record<string, unknown> | undefined;
};
