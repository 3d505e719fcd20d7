// Pins kafka-go, whose tests come with its module. Nothing is built of this.
module lantern.invalid/suite

go 1.26.0

require github.com/segmentio/kafka-go v0.4.51
