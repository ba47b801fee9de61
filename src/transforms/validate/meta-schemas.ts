/** The schemas of the drafts, from the ajv package, by URI. */
import draft06 from 'ajv/dist/refs/json-schema-draft-06.json' with { type: 'json' }
import draft07 from 'ajv/dist/refs/json-schema-draft-07.json' with { type: 'json' }
import schema2019 from 'ajv/dist/refs/json-schema-2019-09/schema.json' with { type: 'json' }
import core2019 from 'ajv/dist/refs/json-schema-2019-09/meta/core.json' with { type: 'json' }
import applicator2019 from 'ajv/dist/refs/json-schema-2019-09/meta/applicator.json' with { type: 'json' }
import validation2019 from 'ajv/dist/refs/json-schema-2019-09/meta/validation.json' with { type: 'json' }
import metaData2019 from 'ajv/dist/refs/json-schema-2019-09/meta/meta-data.json' with { type: 'json' }
import format2019 from 'ajv/dist/refs/json-schema-2019-09/meta/format.json' with { type: 'json' }
import content2019 from 'ajv/dist/refs/json-schema-2019-09/meta/content.json' with { type: 'json' }
import schema2020 from 'ajv/dist/refs/json-schema-2020-12/schema.json' with { type: 'json' }
import core2020 from 'ajv/dist/refs/json-schema-2020-12/meta/core.json' with { type: 'json' }
import applicator2020 from 'ajv/dist/refs/json-schema-2020-12/meta/applicator.json' with { type: 'json' }
import unevaluated2020 from 'ajv/dist/refs/json-schema-2020-12/meta/unevaluated.json' with { type: 'json' }
import validation2020 from 'ajv/dist/refs/json-schema-2020-12/meta/validation.json' with { type: 'json' }
import metaData2020 from 'ajv/dist/refs/json-schema-2020-12/meta/meta-data.json' with { type: 'json' }
import formatAnnotation2020 from 'ajv/dist/refs/json-schema-2020-12/meta/format-annotation.json' with { type: 'json' }
import content2020 from 'ajv/dist/refs/json-schema-2020-12/meta/content.json' with { type: 'json' }

export const META_SCHEMAS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['http://json-schema.org/draft-06/schema', draft06],
  ['http://json-schema.org/draft-07/schema', draft07],
  ['https://json-schema.org/draft/2019-09/schema', schema2019],
  ['https://json-schema.org/draft/2019-09/meta/core', core2019],
  ['https://json-schema.org/draft/2019-09/meta/applicator', applicator2019],
  ['https://json-schema.org/draft/2019-09/meta/validation', validation2019],
  ['https://json-schema.org/draft/2019-09/meta/meta-data', metaData2019],
  ['https://json-schema.org/draft/2019-09/meta/format', format2019],
  ['https://json-schema.org/draft/2019-09/meta/content', content2019],
  ['https://json-schema.org/draft/2020-12/schema', schema2020],
  ['https://json-schema.org/draft/2020-12/meta/core', core2020],
  ['https://json-schema.org/draft/2020-12/meta/applicator', applicator2020],
  ['https://json-schema.org/draft/2020-12/meta/unevaluated', unevaluated2020],
  ['https://json-schema.org/draft/2020-12/meta/validation', validation2020],
  ['https://json-schema.org/draft/2020-12/meta/meta-data', metaData2020],
  ['https://json-schema.org/draft/2020-12/meta/format-annotation', formatAnnotation2020],
  ['https://json-schema.org/draft/2020-12/meta/content', content2020],
])
