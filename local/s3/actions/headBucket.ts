import { type Action, answer } from '../action.ts';

/** That the bucket is there was checked before. */
export const headBucket: Action = (_storage, _request, response) => answer(response, 200);
