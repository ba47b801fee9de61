export interface Feed {
  readonly lines: string[]
  readonly sent: number
  playTo(n: number): void
  cut(): void
  close(): Promise<void>
}
export function playFeed(options: { port: number; rate: number; file?: string; once?: boolean }): Promise<Feed>
