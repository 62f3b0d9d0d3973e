/** dynalite brings no types. What is used of it: an HTTP server that speaks DynamoDB's protocol. */
declare module 'dynalite' {
  import type { Server } from 'node:http';

  export type DynaliteOptions = {
    /** Folder of the LevelDB store; in memory without it. */
    path?: string;
    /** How long tables stay in that state. */
    createTableMs?: number;
    updateTableMs?: number;
    deleteTableMs?: number;
    maxItemSizeKb?: number;
    verbose?: boolean;
  };

  export default function dynalite(options?: DynaliteOptions): Server;
}
