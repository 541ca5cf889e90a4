// Listens to the daemon, and connects again by itself. Knows how long nothing has come.

const TOPICS = ["hello", "beat", "status", "inputs", "hedges", "now", "events", "exposure"];
const RETRY_MS = 2000;
/** The daemon says something each second; silent for so long, it is not believed to be there. */
export const SILENCE_S = 5;

export class Stream {
  /** `onNews(topic, content)` for each event, `onOpen()` with each connection. */
  constructor(onNews, onOpen) {
    this.onNews = onNews;
    this.onOpen = onOpen;
    this.heardAt = performance.now();
    this.connect();
  }

  connect() {
    const source = new EventSource("/api/v1/stream");
    source.addEventListener("open", () => this.onOpen());
    for (const topic of TOPICS) {
      source.addEventListener(topic, (event) => {
        this.heardAt = performance.now();
        this.onNews(topic, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      // The browser tries again after a lost connection; after a refusal it does not.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.connect(), RETRY_MS);
    });
  }

  get silentS() {
    return (performance.now() - this.heardAt) / 1000;
  }
}
