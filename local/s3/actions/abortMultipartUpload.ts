import { type Action, answer } from '../action.ts';
import { findUpload } from './findUpload.ts';

export const abortMultipartUpload: Action = async (storage, request, response) => {
  const { uploadId } = findUpload(storage, request);
  await storage.bodies.remove(storage.index.removeUpload(uploadId));
  answer(response, 204);
};
