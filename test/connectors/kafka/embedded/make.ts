/** How child processes of the conformance suite make their driver. */
import { embeddedDriver, type EmbeddedOptions } from '../../../../src/connectors/kafka/embedded/driver.ts'

export default (options: unknown) => embeddedDriver(options as EmbeddedOptions)
