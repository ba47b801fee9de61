/**
 * The rules of "Voice" in CONTRIBUTING.md and of docs/glossary.md as data: what must not be written, and what to write instead.
 * A rule holds for every kind of text, or for those in `kinds`. `except` matches uses that are right.
 */

/** Text that users meet. */
const SHOWN = ['heading', 'prose', 'cell', 'label', 'description', 'message']

/** @type {{ match: RegExp, write: string, kinds?: string[], except?: RegExp }[]} */
export const PHRASES = [
  // Personification, and subjects that are not named.
  { match: /\b(?:nobody|somebody|someone|anybody|everybody|whoever|whomever)\b/i, write: 'name who or what acts, or use the passive' },
  { match: /\b(?:tells?|told|telling)\b/i, write: 'reports, shows, gives, specifies' },
  {
    match: /\b(?:stands?|stood|standing)\b/i,
    write: 'is, is written, is set',
    except: /\b(?:stands? for|stand-?ins?|standing for|stands? alone)\b/i,
  },
  { match: /\bhears?\b|\bheard\b/i, write: 'receives, is notified' },
  { match: /\bmend(?:s|ed|ing)?\b/i, write: 'fix, repair' },
  { match: /\b(?:culprits?|undertakers?|graves?|bur(?:y|ied|ies)|corpses?)\b/i, write: 'the failed record, dead-letter' },
  { match: /\blooks? whether\b/i, write: 'checks whether' },
  { match: /\b(?:knows?|knew)\b/i, write: 'has, contains, detects', kinds: SHOWN, except: /\bneed to know\b/i },
  { match: /\b(?:says|said)\b/i, write: 'shows, reports, specifies', kinds: SHOWN },
  // Riddles and word order.
  {
    match: /(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|fewer\b|\d)\p{L}/iu,
    write: '"is not a …", "… must be …", or what it is',
  },
  { match: /\bfor ever\b/i, write: 'forever, indefinitely' },
  { match: /\bbrings? about\b/i, write: 'creates, applies' },
  { match: /\bevery so (?:often|long)\b/i, write: 'the interval' },
  {
    match: /(?:^|[.:;] )What [^.?]{0,60}?\b(?:is|are|was|were|goes|comes|stays)\b(?=[^.?]*\.)/,
    write: 'the noun as the subject',
    kinds: SHOWN,
  },
  // Terms of the glossary.
  { match: /\bsettlers?\b|\bunsettled\b/i, write: 'batch writer' },
  { match: /\bcycles?\b/i, write: 'commit batch', kinds: SHOWN, except: /\(a BigInt, [^)]*\ba cycle\b/ },
  { match: /\b(?:takes?|took|taken|taking) over\b/i, write: 'claim', kinds: SHOWN, except: /\btake over a key\b/i },
  { match: /\barms?\b/i, write: 'branch', kinds: SHOWN },
  { match: /\btellers?\b/i, write: 'offset committer' },
  { match: /\bback-fill(?:s|ed|ing)?\b/i, write: 'backfill' },
  {
    match: /\b(?:the|a|an|its|these|those|their|all|each|every|of|no|new|old|\d+) letters?\b(?! (?:or|and|digits?)\b)/i,
    write: 'dead letter',
    except: /\b(?:lowercase|uppercase) |\bletters? code\b/i,
  },
  { match: /\b(?:goes?|going|went|sent|send|put) (?:\w+ )?(?:to|into) the dead letters\b/i, write: 'the dead-letter queue' },
  { match: /\bput out of (?:the|its|their) group\b/i, write: 'evict' },
  { match: /\brefus(?:e|es|ed|ing|als?)\b/i, write: 'reject, rejection', kinds: SHOWN, except: /\bconnection (?:was |is )?refused\b/i },
  { match: /\bre(?:wind(?:s|ing)?|wound)\b/i, write: 'restore' },
  { match: /\banew\b/i, write: 'again, from the start' },
  {
    match: /\bsettl(?:e|es|ed|ing|ement)\b/i,
    write: 'commit, finish, decide',
    kinds: SHOWN,
    // The term for a promise that is fulfilled or rejected, and the glossary's own row.
    except: /\b(?:promises?|await)(?: \w+){0,3} settles?\b|^settle$/i,
  },
  {
    match: /\bplace\b/i,
    write: 'dead-letter queue, location, position, folder',
    kinds: SHOWN,
    // A value that replaces another, an event, the verb, and the glossary's own rows.
    except:
      /\bin[- ](?:\w+ )?place\b|\btakes? place\b|\bplace (?:code|the)\b|\bat (?:that|their) place\b|^(?:dead letters \(the )?place\)?$/i,
  },
  {
    match: /\bprob(?:e|es|ed|ing)\b/i,
    write: 'check, attempt',
    kinds: SHOWN,
    // Kubernetes names its health checks so.
    except: /\b(?:liveness|readiness|startup|health|Kubernetes) probes?\b|^probe$/i,
  },
  {
    // A container holds values: a file, a column, a table. A process that holds a lock is the usual term, too.
    match: /\b(?:runner|step|sink|source|transform|process|pipeline|lane|consumer|member|command) (?:holds?|held)\b/i,
    write: 'contain, store, keep',
    kinds: SHOWN,
    except: /\bholds? (?:the|a|its) (?:lock|lease)\b/i,
  },
  { match: /\bpromise[sd] (?:less|more|nothing|that|an?|the)\b/i, write: 'guarantee' },
]

/** British spellings, and what this project writes. */
export const SPELLING = {
  analyse: 'analyze',
  analysed: 'analyzed',
  artefact: 'artifact',
  artefacts: 'artifacts',
  behaviour: 'behavior',
  behaviours: 'behaviors',
  cancelled: 'canceled',
  cancelling: 'canceling',
  catalogue: 'catalog',
  catalogues: 'catalogs',
  centre: 'center',
  colour: 'color',
  colours: 'colors',
  coloured: 'colored',
  defence: 'defense',
  equalled: 'equaled',
  favour: 'favor',
  favourite: 'favorite',
  fulfil: 'fulfill',
  grey: 'gray',
  honour: 'honor',
  honours: 'honors',
  honoured: 'honored',
  initialise: 'initialize',
  initialised: 'initialized',
  judgement: 'judgment',
  labelled: 'labeled',
  labelling: 'labeling',
  licence: 'license',
  licences: 'licenses',
  misspelt: 'misspelled',
  modelled: 'modeled',
  neighbour: 'neighbor',
  neighbours: 'neighbors',
  neighbouring: 'neighboring',
  normalise: 'normalize',
  normalised: 'normalized',
  optimise: 'optimize',
  organisation: 'organization',
  organise: 'organize',
  organised: 'organized',
  recognise: 'recognize',
  recognised: 'recognized',
  recognises: 'recognizes',
  serialise: 'serialize',
  serialised: 'serialized',
  signalled: 'signaled',
  signalling: 'signaling',
  synchronise: 'synchronize',
  towards: 'toward',
  travelled: 'traveled',
  travelling: 'traveling',
  whilst: 'while',
}

/** Words of a sentence. Quotes and code count as one. */
export const LONGEST = { heading: 14, prose: 40, cell: 40, description: 40, message: 40, comment: 40, title: 30 }

/** Words that keep their capital in a heading. */
export const PROPER =
  /^(?:[A-Z0-9][A-Z0-9./+-]+s?|\W*I|API|Kafka|Redis|PostgreSQL|Node\.js|Docker|Compose|Prometheus|Grafana|Google|Sheets|Sheet|Pub\/Sub|Kubernetes|Parquet|TypeScript|JavaScript|Redpanda|Connect|Streams|Quix|Debezium|Vector|Benthos|Binance|Coinbase|Kraken|OKX|Alertmanager|OpenTelemetry|NestJS|Nest|Fastify|Stripe|GitHub|Shopify|Windows|Linux|macOS|Unreleased|Standard|Webhooks|Avro|Confluent|OpenLineage|Bento|Temporal|Decimal|Unix|Monday|SQLite|Node)(?:'s)?[,.:)]*$/
