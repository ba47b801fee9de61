/** An application whose service sends orders into a pipeline and receives its alerts. */
import { type DynamicModule, Module, type OnModuleInit } from '@nestjs/common'
import { type Json, MemoryChannel } from 'pipeline-runner'
import { channelToken, PipelineModule } from './pipeline.module.ts'

export class OrdersService implements OnModuleInit {
  readonly alerts: Json[] = []
  private readonly orders: MemoryChannel
  private readonly output: MemoryChannel
  private consuming: Promise<void> = Promise.resolve()

  constructor(orders: MemoryChannel, output: MemoryChannel) {
    this.orders = orders
    this.output = output
  }

  onModuleInit(): void {
    this.consuming = (async () => {
      for await (const { value } of this.output) this.alerts.push(value)
    })()
    // The pipeline reports its own failure.
    this.consuming.catch(() => {})
  }

  /** Resolves when the order is through: written as an alert, filtered out, or dead-lettered. */
  async place(order: { customer: string; amount: number }): Promise<void> {
    await this.orders.send({ value: order, key: order.customer, time: Date.now() })
    await this.orders.flushed()
  }

  /** Resolves when the pipeline has ended and every alert was received. */
  async finished(): Promise<void> {
    await this.consuming
  }
}

export class AppModule {
  static forRoot(): DynamicModule {
    const memory = { orders: new MemoryChannel({ capacity: 1000 }), alerts: new MemoryChannel() }
    return {
      module: AppModule,
      imports: [PipelineModule.forRoot(new URL('orders.yaml', import.meta.url), { memory })],
      providers: [
        {
          provide: OrdersService,
          inject: [channelToken('orders'), channelToken('alerts')],
          useFactory: (orders: MemoryChannel, alerts: MemoryChannel) => new OrdersService(orders, alerts),
        },
      ],
    }
  }
}
Module({})(AppModule)
