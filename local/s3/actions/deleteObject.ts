import { type Action, answer } from '../action.ts';
import { writeConditions } from '../conditions.ts';

export const deleteObject: Action = async (storage, request, response) => {
  await storage.bodies.remove(storage.index.remove(request, writeConditions(request)));
  answer(response, 204);
};
