// Stands for `@aws-sdk/credential-provider-node` in the bundles. Lambda gives a function its role's credentials as
// variables, the first that the SDK's chain looks at; the rest of the chain (profiles, SSO, processes, instance
// metadata, with clients of STS and SSO) is for machines. What runs outside the bundles, as operations/ does, has it whole.
export { fromEnv as defaultProvider } from '@aws-sdk/credential-provider-env';
