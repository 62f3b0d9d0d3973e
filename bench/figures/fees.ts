import { readStage } from '../../infra/config.ts';
import { measureFees, measureFeesGrowth } from '../fees.ts';
import { feesTable } from '../feesTable.ts';
import { type FigureGroup, type Readings, readingOf } from '../measured.ts';

/** Counts are what they are: there is nothing to be repeated. */
export const fees: FigureGroup = {
  ids: ['fees_per_million', 'fees_growth', 'fees_naive'],
  async measure({ say, wants }) {
    const { settings } = readStage('prod');
    const readings: Readings = {};
    if (wants('fees_per_million') || wants('fees_naive')) {
      const { fees_per_million, fees_naive, use } = await measureFees(settings, say);
      for (const row of feesTable(use).split('\n')) say(row);
      const times = (fees_naive / fees_per_million).toFixed(0);
      readings.fees_per_million = readingOf([fees_per_million], 'counted on runs of 2,000 and 20,000 lines');
      readings.fees_naive = readingOf([fees_naive], `${times} times as much`);
    }
    if (wants('fees_growth'))
      readings.fees_growth = readingOf(
        [await measureFeesGrowth(settings, say)],
        'from 20,000 to 200,000 lines: all counted but the workers’ wait for the model',
      );
    return readings;
  },
};
