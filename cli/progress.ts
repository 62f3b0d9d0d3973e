import cliProgress from 'cli-progress';

export type Progress = {
  /** Called whenever the batch was looked at. */
  show(state: { status: string; done: number; failed: number; total: number }): void;
  stop(): void;
};

/** Without a terminal, a line is printed when the status changes and at most this often in between. */
const PLAIN_EVERY_MS = 2_000;
/** The rate is taken over this long, so that it follows the batch's speed and not its whole life. */
const RATE_WINDOW_MS = 15_000;

/** Lines a second over the last seconds, and the seconds left at that rate. */
export function createRate(now: () => number) {
  const samples: { at: number; done: number }[] = [];
  return (done: number, total: number) => {
    const at = now();
    samples.push({ at, done });
    while (samples.length > 2 && at - (samples[0]?.at ?? at) > RATE_WINDOW_MS) samples.shift();
    const first = samples[0] ?? { at, done };
    const seconds = (at - first.at) / 1000;
    const perSecond = seconds > 0 ? (done - first.done) / seconds : 0;
    return { perSecond, secondsLeft: perSecond > 0 ? (total - done) / perSecond : undefined };
  };
}

export function formatSeconds(seconds: number | undefined): string {
  if (seconds === undefined) return '–';
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  return `${Math.floor(whole / 3600)}h ${Math.floor((whole % 3600) / 60)}m`;
}

/** A live bar on a terminal, plain lines elsewhere; both on stderr, so that stdout holds results alone. */
export function createProgress(isTerminal: boolean, write: (line: string) => void): Progress {
  const rateOf = createRate(() => performance.now());
  if (!isTerminal) {
    let lastAt = -Infinity;
    let lastStatus = '';
    return {
      show({ status, done, failed, total }) {
        const { perSecond, secondsLeft } = rateOf(done, total);
        if (status === lastStatus && performance.now() - lastAt < PLAIN_EVERY_MS) return;
        lastAt = performance.now();
        lastStatus = status;
        const counts = total > 0 ? ` ${done}/${total} done, ${failed} failed` : '';
        const left = done < total ? `, ${formatSeconds(secondsLeft)} left` : '';
        const speed = perSecond > 0 ? `, ${Math.round(perSecond)} lines/s${left}` : '';
        write(`${status}${counts}${speed}`);
      },
      stop() {},
    };
  }
  const bar = new cliProgress.SingleBar({
    format: '{status} {bar} {percentage}%  {counts}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 24,
    hideCursor: true,
    stream: process.stderr,
    clearOnComplete: false,
    linewrap: false,
  });
  let started = false;
  return {
    show({ status, done, failed, total }) {
      const { perSecond, secondsLeft } = rateOf(done, total);
      const left = done < total ? `  ${formatSeconds(secondsLeft)} left` : '';
      const rate = `${Math.round(perSecond)} lines/s${left}`;
      const counts = total > 0 ? `${done}/${total} done  ${failed} failed  ${rate}` : '';
      const payload = { status: status.padEnd(11), counts };
      // Until the lines are counted the bar is empty, not full.
      const full = Math.max(total, 1);
      if (!started) bar.start(full, done, payload);
      started = true;
      bar.setTotal(full);
      bar.update(done, payload);
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
