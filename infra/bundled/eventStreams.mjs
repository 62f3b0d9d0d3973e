// Stands for `@smithy/core/event-streams` in the bundles: no command that a handler sends has an event stream (of S3
// only SelectObjectContent has one). The SDK imports the module twice, once when it is needed, for which esbuild would
// keep all of the SDK's core in functions of their own.
const refuse = () => {
  throw new Error('Event streams are not in the bundles: see infra/bundle.ts.');
};

export const eventStreamSerdeProvider = () => ({ serialize: refuse, deserialize: refuse });
export const resolveEventStreamSerdeConfig = (config) => config;
export class EventStreamSerde {
  serializeEventStream = refuse;
  deserializeEventStream = refuse;
}
