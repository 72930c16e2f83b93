-- Nothing more is sent, and what the operator stopped is started again. Take the request out of Git too.
obj.spec.offsetReset = nil
return obj
